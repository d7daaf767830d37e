# An alarm calls this function: it reads the log around the alarm, looks up what is known of such incidents, and tells people.
# It is packed by `python -m harness.aws.package`; where no file is named, there is none.
data "aws_iam_policy_document" "functions" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "analyse" {
  name               = "cream-analyse"
  assume_role_policy = data.aws_iam_policy_document.functions.json
}

resource "aws_cloudwatch_log_group" "analyse" {
  name              = "/aws/lambda/cream-analyse"
  retention_in_days = var.log_retention_days
}

data "aws_iam_policy_document" "analyse" {
  statement {
    sid       = "WriteItsOwnLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.analyse.arn}:*"]
  }

  statement {
    sid       = "ReadTheAppsLog"
    actions   = ["logs:FilterLogEvents"]
    resources = [aws_cloudwatch_log_group.task.arn, "${aws_cloudwatch_log_group.task.arn}:*"]
  }

  statement {
    sid       = "ReadWhomToTell"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.of["analyse"].arn]
  }
}

resource "aws_iam_role_policy" "analyse" {
  name   = "analyse"
  role   = aws_iam_role.analyse.id
  policy = data.aws_iam_policy_document.analyse.json
}

resource "aws_lambda_function" "analyse" {
  count = var.function_zip == "" ? 0 : 1

  function_name                  = "cream-analyse"
  role                           = aws_iam_role.analyse.arn
  filename                       = var.function_zip
  source_code_hash               = filebase64sha256(var.function_zip)
  handler                        = "harness.aws.alarm.handler"
  runtime                        = "python3.14"
  timeout                        = 150
  memory_size                    = 512
  reserved_concurrent_executions = 2 # an alarm that flaps costs so much and no more

  environment {
    variables = merge(
      { LOG_GROUP = aws_cloudwatch_log_group.task.name, LOG_STREAMS = "web/" },
      { for name in var.alerts : "${name}_SECRET" => "${aws_secretsmanager_secret.of["analyse"].arn}#${name}" },
    )
  }

  depends_on = [aws_cloudwatch_log_group.analyse, aws_iam_role_policy.analyse]
}

resource "aws_lambda_permission" "alarm" {
  count = length(aws_lambda_function.analyse)

  statement_id   = "alarm"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.analyse[0].function_name
  principal      = "lambda.alarms.cloudwatch.amazonaws.com"
  source_account = data.aws_caller_identity.here.account_id
  source_arn     = aws_cloudwatch_metric_alarm.markers.arn
}
