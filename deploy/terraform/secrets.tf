# The containers only. Their values are put in by hand or by the pipeline: none stands in a file or in the state.
resource "aws_secretsmanager_secret" "of" {
  for_each = toset(["web", "postgres", "mock-api", "analyse"])

  name                    = "cream/${each.key}"
  recovery_window_in_days = 7
}
