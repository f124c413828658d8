# The policy as text, without any provider, so that a test can compare it with what kms-policy/generate.ts makes.
# kms-policy/pcr-set.ts explains the clauses; the names here are the same.

locals {
  # One demand is "<index, two digits>=<hex>", as in pcr-set.ts, so that both sort alike.
  set_texts = sort(distinct([
    for set in var.pcr_sets : join(",", sort([for index, hex in set : format("%02d=%s", tonumber(index), lower(hex))]))
  ]))
  sets = [for text in local.set_texts : split(",", text)]

  # setproduct wants two lists at least; the empty terms are taken out again.
  clause_texts = distinct(sort([
    for terms in setproduct([""], [""], local.sets...) : join(",", sort(compact(distinct(terms))))
  ]))
  all_clauses = [for text in local.clause_texts : compact(split(",", text))]
  clauses = [
    for clause in local.all_clauses : clause
    if alltrue([for other in local.all_clauses : other == clause || length(setsubtract(other, clause)) > 0])
  ]

  uses = [
    for at, terms in local.sets : {
      sid       = "AttestedUse${length(local.sets) > 1 ? at + 1 : ""}"
      effect    = "Allow"
      principal = jsonencode(var.role_arn)
      actions   = local.use_actions
      operator  = "StringEqualsIgnoreCase"
      entries = [
        for term in terms :
        "${jsonencode("kms:RecipientAttestation:PCR${tonumber(substr(term, 0, 2))}")}: ${jsonencode(substr(term, 3, 96))}"
      ]
    }
  ]

  denied_uses = [
    for at, terms in local.clauses : {
      sid       = "DenyUseWithoutAttestation${length(local.clauses) > 1 ? at + 1 : ""}"
      effect    = "Deny"
      principal = jsonencode("*")
      actions   = local.use_actions
      operator  = "StringNotEqualsIgnoreCase"
      entries = [
        for index in distinct([for term in terms : substr(term, 0, 2)]) :
        format(
          "%s: [\n            %s\n          ]",
          jsonencode("kms:RecipientAttestation:PCR${tonumber(index)}"),
          join(",\n            ", [for term in terms : jsonencode(substr(term, 3, 96)) if substr(term, 0, 2) == index]),
        )
      ]
    }
  ]

  others = [
    {
      sid       = "DenyUseByOthers"
      effect    = "Deny"
      principal = jsonencode("*")
      actions   = local.use_actions
      operator  = "StringNotEquals"
      entries   = ["${jsonencode("aws:PrincipalArn")}: ${jsonencode(var.role_arn)}"]
    },
    {
      sid       = "DenyWaysRound"
      effect    = "Deny"
      principal = jsonencode("*")
      actions   = local.forbidden_actions
      operator  = ""
      entries   = []
    },
    {
      sid       = "DenyManagementByOthers"
      effect    = "Deny"
      principal = jsonencode("*")
      actions   = local.management_actions
      operator  = "StringNotEquals"
      entries   = ["${jsonencode("aws:PrincipalArn")}: ${jsonencode(var.break_glass_role_arn)}"]
    },
    {
      sid       = "BreakGlassManages"
      effect    = "Allow"
      principal = jsonencode(var.break_glass_role_arn)
      actions   = concat(local.management_actions, local.description_actions, local.tagging_actions)
      operator  = ""
      entries   = []
    },
  ]

  administrators = length(var.administrator_arns) == 0 ? [] : [
    {
      sid    = "AdministratorsDescribeAndTag"
      effect = "Allow"
      principal = format(
        "[\n          %s\n        ]",
        join(",\n          ", [for arn in sort(distinct(var.administrator_arns)) : jsonencode(arn)]),
      )
      actions  = concat(local.description_actions, local.tagging_actions)
      operator = ""
      entries  = []
    },
  ]

  json = templatefile("${path.module}/policy.json.tftpl", {
    statements = concat(local.uses, local.denied_uses, local.others, local.administrators)
  })
}

output "json" {
  value = local.json

  precondition {
    condition     = length(local.json) <= 32768
    error_message = "KMS takes policies of at most 32768 bytes: use fewer PCRs, or sets."
  }

  precondition {
    condition     = !contains(concat([var.break_glass_role_arn], var.administrator_arns), var.role_arn)
    error_message = "The role that uses the key must not manage it too."
  }

  precondition {
    condition     = !contains(var.administrator_arns, var.break_glass_role_arn)
    error_message = "The break-glass role is not for daily work: do not name it as an administrator."
  }

  precondition {
    condition = alltrue([
      for arn in concat([var.break_glass_role_arn], var.administrator_arns) : split(":", arn)[4] == var.account_id
    ])
    error_message = "Break-glass role and administrators must be of the key's account."
  }
}
