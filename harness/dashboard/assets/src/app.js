// Keeps a page up to date by Server-Sent Events. Whatever comes is put in as text, never as markup.
const live = document.getElementById("live");
const rows = document.getElementById("rows");
const MOST_ROWS = 200;

for (const select of document.querySelectorAll("[data-submits]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// A hidden page gives its connection back: a browser has six for each host, and where it stands is known.
let source;
function follow() {
  if (document.hidden || source) return;
  const { events, after, feed } = live.dataset;
  source = new EventSource(`${events}?after=${after}&feed=${encodeURIComponent(feed)}`);
  source.onopen = () => show("live", "live");
  source.onerror = () => {
    if (source?.readyState !== EventSource.CLOSED) return show("connecting", "connecting again");
    leave();
    show("lost", "not live, trying again"); // the server refused: it is full, or wants a login
    setTimeout(follow, 10_000);
  };
  source.onmessage = (event) => {
    live.dataset.after = event.lastEventId;
    take(JSON.parse(event.data));
  };
  source.addEventListener("reset", () => location.reload());
}

function leave() {
  source?.close();
  source = undefined;
}

document.addEventListener("visibilitychange", () => (document.hidden ? leave() : live && follow()));
addEventListener("pagehide", leave);

function show(state, text) {
  live.dataset.state = state;
  document.getElementById("live-text").textContent = text;
}

function take(change) {
  const key = `${change.trial_id}/${change.id}`;
  const one = document.querySelector("[data-one]");
  if (one && one.dataset.one === key) refresh();
  if (rows) update(key, change);
  if (!one || one.dataset.one === key) say(`${change.error_code}: ${change.kind.replaceAll("_", " ")}`);
}

function update(key, change) {
  let row = [...rows.children].find((each) => each.dataset.key === key);
  if (!row && rows.dataset.insert === "yes") row = insert(key, change);
  else if (!row && change.kind === "created") count();
  if (!row) return;
  for (const name of ["error_code", "symptoms", "scenario", "fixer"]) set(row, name, change[name]);
  for (const name of ["state", "outcome"]) {
    set(row, name, change[name].replaceAll("_", " "));
    row.querySelector(`[data-field=${name}]`).dataset[name] = change[name];
  }
  set(row, "confidence", change.confidence === null ? "–" : `${Math.round(100 * change.confidence)} %`);
  row.classList.remove("changed");
  void row.offsetWidth; // so that the animation begins anew
  row.classList.add("changed");
}

function insert(key, change) {
  const row = document.getElementById("row").content.firstElementChild.cloneNode(true);
  row.dataset.key = key;
  const time = row.querySelector("[data-field=detected_at]");
  time.dateTime = change.detected_at;
  time.textContent = change.detected_at.slice(0, 19).replace("T", " ");
  row.querySelector("[data-field=link]").href = rows.dataset.page
    .replace("TRIAL", encodeURIComponent(change.trial_id))
    .replace("ID", encodeURIComponent(change.id));
  const later = [...rows.children].find((each) => when(each) <= change.detected_at);
  rows.insertBefore(row, later ?? null);
  while (rows.children.length > MOST_ROWS) rows.lastElementChild.remove();
  document.getElementById("empty").hidden = true;
  return row;
}

function when(row) {
  return row.querySelector("[data-field=detected_at]").dateTime;
}

function set(row, name, text) {
  row.querySelector(`[data-field=${name}]`).textContent = text;
}

function count() {
  const number = document.getElementById("news-count");
  number.textContent = String(Number(number.textContent) + 1);
  document.getElementById("news").hidden = false;
}

let said;
function say(text) {
  clearTimeout(said); // the last of many at once is enough
  said = setTimeout(() => (document.getElementById("said").textContent = text), 300);
}

// The page of one incident is fetched again, as the server renders it, and what was opened stays open.
let fetching = false;
let again = false;
async function refresh() {
  if (fetching) return void (again = true);
  fetching = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("incident");
    if (fresh) swap(document.getElementById("incident"), fresh);
  } catch {
    setTimeout(refresh, 2000); // it is away for now; what was told must be shown
  } finally {
    fetching = false;
    if (again) {
      again = false;
      refresh();
    }
  }
}

function swap(old, fresh) {
  for (const open of old.querySelectorAll("details[open]")) {
    const same = fresh.querySelector(`#${CSS.escape(open.id)}`);
    if (same) same.open = true;
  }
  const focused = document.activeElement?.closest("details")?.id;
  old.replaceWith(fresh);
  if (focused) document.getElementById(focused)?.querySelector("summary")?.focus();
}

if (live) follow();
