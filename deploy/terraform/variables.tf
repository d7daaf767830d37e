variable "region" {
  description = "Where it all runs."
  type        = string
  default     = "us-east-1"
}

variable "vpc_id" {
  description = "The network of the tasks."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of it, from which ECR, CloudWatch and Secrets Manager are reached."
  type        = list(string)
}

variable "client_cidr_blocks" {
  description = "Who may call the app at port 8000. Nobody, where nothing is named."
  type        = list(string)
  default     = []
}

variable "assign_public_ip" {
  description = "For subnets without a NAT gateway or endpoints."
  type        = bool
  default     = false
}

variable "repository" {
  description = "The repository on GitHub whose main branch deploys, as owner/name."
  type        = string
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps the app's log."
  type        = number
  default     = 30
}

variable "alarm_actions" {
  description = "ARNs that are told when a fault names itself or no task runs: an SNS topic, mostly."
  type        = list(string)
  default     = []
}

variable "function_zip" {
  description = "What `python -m harness.aws.package` has made. Nothing analyses alarms where it is not named."
  type        = string
  default     = ""
}

variable "alerts" {
  description = "Who is told of an alarm's analysis: SLACK_WEBHOOK_URL, PAGERDUTY_ROUTING_KEY, as the secret cream/analyse holds them."
  type        = list(string)
  default     = []
}
