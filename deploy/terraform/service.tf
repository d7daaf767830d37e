resource "aws_ecs_cluster" "main" {
  name = "creamandonion"

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

# Only the first revision is made here; the pipeline registers the others, from the same file.
locals {
  template = jsondecode(file("${path.module}/../aws/task-definition.json"))
  # names without an account, which the file cannot know, become those of this one
  containers = jsondecode(replace(
    jsonencode(local.template.containerDefinitions),
    "arn:aws:secretsmanager:us-east-1:000000000000:secret:cream/",
    "arn:aws:secretsmanager:${var.region}:${data.aws_caller_identity.here.account_id}:secret:cream/",
  ))
}

resource "aws_ecs_task_definition" "task" {
  family                   = local.template.family
  network_mode             = local.template.networkMode
  requires_compatibilities = local.template.requiresCompatibilities
  cpu                      = local.template.cpu
  memory                   = local.template.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  container_definitions = jsonencode([
    for container in local.containers :
    merge(container, { image = "${aws_ecr_repository.images.repository_url}:${container.name}-latest" })
  ])

  dynamic "volume" {
    for_each = local.template.volumes
    content {
      name = volume.value.name
    }
  }
}

resource "aws_security_group" "task" {
  name        = "cream-task"
  description = "The app, called at its port alone"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "app" {
  for_each = toset(var.client_cidr_blocks)

  security_group_id = aws_security_group.task.id
  description       = "users"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 8000
  to_port           = 8000
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.task.id
  description       = "ECR, CloudWatch, Secrets Manager"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_ecs_service" "app" {
  name            = "cream-task-service"
  cluster         = aws_ecs_cluster.main.id
  task_definition = aws_ecs_task_definition.task.arn
  desired_count   = 1
  launch_type     = "FARGATE"

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.task.id]
    assign_public_ip = var.assign_public_ip
  }

  lifecycle {
    ignore_changes = [task_definition, desired_count] # the pipeline's and the harness's
  }
}

resource "aws_cloudwatch_metric_alarm" "down" {
  alarm_name          = "cream-no-task"
  alarm_description   = "No task of the service runs."
  namespace           = "ECS/ContainerInsights"
  metric_name         = "RunningTaskCount"
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 3
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions

  dimensions = {
    ClusterName = aws_ecs_cluster.main.name
    ServiceName = aws_ecs_service.app.name
  }
}
