output "repository_url" {
  description = "Where images are pushed."
  value       = aws_ecr_repository.images.repository_url
}

output "pipeline_role_arn" {
  description = "For the variable AWS_ROLE_ARN of the repository on GitHub."
  value       = aws_iam_role.pipeline.arn
}
