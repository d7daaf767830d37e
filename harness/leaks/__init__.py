"""Looks for the answer in all that a fixer is about to get: a trial in which it stands there measures nothing.

What counts where (``Origin`` says whose words a blob holds):

- The scenario's name and the names of its checks and patches are coined words, such as ``pool_exhaustion``. They count
  everywhere; spelt with hyphens, and the names of cheats, where the harness writes, since ``pool-exhaustion`` is
  English. A name of a single word is no needle, but for the scenario's, see below.
- A line that the reference patch adds counts everywhere. What stands in the app as it runs, defects included, or is
  short tells nothing, and is no needle.
- What was learnt from a healed incident is there to tell how it was healed: the lines and the patches' names do not
  count in it.
- The title is a sentence about the fault. Past incidents and the app may well say the same of themselves, so that it
  counts in what the harness writes: symptoms, breadcrumbs, commit messages, environment.
- A fault class, or a name or title of one word, is an ordinary word, such as ``database``. It tells where the harness
  gives a name (an incident's id, a folder, a branch), and as a value (``class: database``, ``CLASS=database``); not in
  a sentence.
- What the fixer itself wrote, in earlier attempts or commits, tells it nothing. The prompt, logs, and why an attempt
  failed may repeat that, and what was learnt: what stands there may stand in them.

Words are found whole, and in any case; a line is found as it is, or as JSON spells it.
"""
