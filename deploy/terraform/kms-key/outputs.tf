output "key_arn" {
  description = "For the manifest's kmsKeyArn. No alias is made: an alias can be moved to another key."
  value       = aws_kms_key.this.arn
}

output "policy_json" {
  description = "The key policy, byte for byte what `cloister kms-policy generate` writes."
  value       = module.policy.json
}
