"""The policies of the template's roles and functions, as CloudFormation attaches them.

Each resource is named by its logical id.
"""

from functools import cache

from tests.template.deployment import PSEUDO_PARAMETERS, REGION, Deployment
from tests.template.stack import Json, properties, resources

ACCOUNT, STACK = PSEUDO_PARAMETERS["AWS::AccountId"], PSEUDO_PARAMETERS["AWS::StackName"]
OTHER_ACCOUNT = "999999999999"
ROLE, FUNCTION = "AWS::IAM::Role", "AWS::Lambda::Function"

AUDIENCE = "https://issuer.example"
PARAMETERS = {
    "OidcIssuer": "https://login.example.com",
    "AuthorizationServiceUrl": "https://authorization.example",
    "WebIdentityAudiences": AUDIENCE,
}
"""The stack signs people in, registers runs and has clients without a secret. All other parameters
have their defaults."""

STREAM = "2026-11-26T00:00:00.000"
RESOURCES = {
    "AWS::DynamoDB::Table": ("dynamodb", "table/{}"),
    "AWS::SQS::Queue": ("sqs", "{}"),
    "AWS::Lambda::Function": ("lambda", "function:{}"),
    "AWS::Logs::LogGroup": ("logs", "log-group:{}:*"),
}
"""The service and the form of the ARN of each kind of resource that policies name."""


def arn(service: str, resource: str, *, account: str = ACCOUNT) -> str:
    """The ARN of a resource in the stack's region."""
    return f"arn:aws:{service}:{REGION}:{account}:{resource}"


class NamedDeployment(Deployment):
    """A deployment whose resources have their logical ids as names, with the ARNs of AWS."""

    def physical_id(self, logical_id: str) -> str:
        """The value of `Ref`: the name of the resource, or the ARN of an alias or a role."""
        if logical_id in self.resources("AWS::Lambda::Alias"):
            function = self.properties(logical_id)["FunctionName"]
            return arn("lambda", f"function:{function}:live")
        return logical_id

    def attribute(self, logical_id: str, name: str) -> str:
        """The ARN of a resource that policies name, or of a table's stream."""
        if logical_id in self.resources(ROLE):
            return f"arn:aws:iam::{ACCOUNT}:role/{logical_id}"
        for kind, (service, form) in RESOURCES.items():
            if logical_id in self.resources(kind):
                resource = form.format(logical_id)
                ending = f"/stream/{STREAM}" if name == "StreamArn" else ""
                return arn(service, resource + ending)
        return super().attribute(logical_id, name)


@cache
def deployment(recovery_days: str = "7") -> NamedDeployment:
    """The stack under test, with `SecretRecoveryDays`."""
    return NamedDeployment({**PARAMETERS, "SecretRecoveryDays": recovery_days})


DELETES_AT_ONCE = "RunsRole with SecretRecoveryDays=0"
"""The name of the policy of `RunsRole` in such a stack."""


NOT_EVALUATED = {"KeysOfClients"}
"""Statements with `kms:EncryptionContext:…`, a condition key that the evaluator leaves out.
The template's own tests hold them."""


def identity_policy(role: str, *, recovery_days: str = "7") -> Json:
    """All statements of a role's own and attached policies, as one policy."""
    stack = deployment(recovery_days)
    body = stack.properties(role)
    documents = [each["PolicyDocument"] for each in body["Policies"]]
    attached = body.get("ManagedPolicyArns", [])
    documents += [stack.properties(name)["PolicyDocument"] for name in attached]
    statements = [statement for document in documents for statement in document["Statement"]]
    evaluated = [each for each in statements if each["Sid"] not in NOT_EVALUATED]
    return {"Version": "2012-10-17", "Statement": evaluated}


def trust_policy(role: str) -> Json:
    """The policy that says who can assume a role."""
    policy: Json = deployment().properties(role)["AssumeRolePolicyDocument"]
    return policy


def invocation_policy(function: str) -> Json:
    """The resource policy of a function, or of its alias, that Lambda makes of the permissions."""
    statements = []
    for name in deployment().resources("AWS::Lambda::Permission"):
        permission = deployment().properties(name)
        if permission["FunctionName"] == function:
            statements.append(
                {
                    "Sid": name,
                    "Effect": "Allow",
                    "Principal": {"Service": permission["Principal"]},
                    "Action": permission["Action"],
                    "Resource": function,
                    "Condition": {
                        "StringEquals": {"aws:SourceAccount": permission["SourceAccount"]},
                        "ArnLike": {"aws:SourceArn": permission["SourceArn"]},
                    },
                }
            )
    return {"Version": "2012-10-17", "Statement": statements}


def role_of_function(function: str) -> str:
    """The role of a function."""
    return str(properties(FUNCTION, function)["Role"]["Fn::GetAtt"][0])


@cache
def role_of(package: str) -> str:
    """The role of the function whose handler is in a package of `functions/`."""
    [role] = {
        role_of_function(name)
        for name, body in resources(FUNCTION).items()
        if body["Properties"]["Handler"].split(".")[0] == package
    }
    return role
