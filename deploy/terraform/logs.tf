resource "aws_cloudwatch_log_group" "task" {
  name              = "/ecs/cream-task"
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_query_definition" "shipped" {
  for_each = fileset("${path.module}/../aws/insights", "*.query")

  name            = "creamandonion/${trimsuffix(each.value, ".query")}"
  log_group_names = [aws_cloudwatch_log_group.task.name]
  query_string    = file("${path.module}/../aws/insights/${each.value}")
}

# A fault names itself in the log: the line becomes a number, and the number an alarm.
resource "aws_cloudwatch_log_metric_filter" "markers" {
  name           = "fault-markers"
  log_group_name = aws_cloudwatch_log_group.task.name
  pattern        = "{ $.marker = \"FAULT_*\" }"

  metric_transformation {
    name          = "FaultMarkers"
    namespace     = "CreamAndOnion"
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "markers" {
  alarm_name          = "cream-fault-marker"
  alarm_description   = "The app named a fault in its log."
  namespace           = "CreamAndOnion"
  metric_name         = "FaultMarkers"
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = concat(var.alarm_actions, aws_lambda_function.analyse[*].arn)
}
