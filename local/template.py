"""Reads `template.yaml`: its data resources and functions, for one machine.

SAM's own translator reads it. Tables, queues and the like are created by CloudFormation (moto's),
which also resolves every intrinsic function in the environment of the functions: each value is an
output of the stack. Of the nested applications, only `console.yaml` is read, which is plain
CloudFormation: nothing here checks permissions or raises alarms.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]

from local.lambda_runtime import REGION, Function
from local.template_yaml import read_template

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

STACK_NAME = "byline"

NAME_PROPERTY = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SecretsManager::Secret": "Name",
}
"""What is created here, and the property that names it. Each is named by its logical id, which is
also what `sam local invoke` takes for its name."""

type Json = dict[str, Any]

NO_VALUE = {"Ref": "AWS::NoValue"}


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was read.

    `code`: for each function its own folder and those of its layers, by logical id.
    """

    translated: Json
    code: Mapping[str, tuple[Path, ...]]

    @classmethod
    def read(cls, path: Path) -> "Template":
        """Read `path`, and translate it where it asks for that.

        The translator raises its own errors for what is not SAM.
        """
        template = read_template(path)
        code = _take_code(template, path.parent)
        if "Transform" not in template:
            return cls(template, code)
        translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
        return cls(translator.translate(template, parameter_values={}), code)

    def deploy(
        self, cloudformation: "CloudFormationClient", *, parameters: Mapping[str, str]
    ) -> dict[str, Function]:
        """Create what can be created. Returns the functions, ready to run, by logical id.

        What has a condition is there where it holds.
        """
        settings = self._settings()
        cloudformation.create_stack(
            StackName=STACK_NAME,
            TemplateBody=json.dumps(self._data_template(settings)),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in parameters.items()
            ],
        )
        [stack] = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"]
        if stack["StackStatus"] != "CREATE_COMPLETE":
            raise RuntimeError(f"the stack is {stack['StackStatus']}")
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        resolved: dict[str, dict[str, str]] = {}
        for key, (function, name, _) in settings.items():
            if key not in outputs:
                continue  # of a function whose condition does not hold
            resolved.setdefault(function, {})[name] = outputs[key]
        return {function: self._function(function, values) for function, values in resolved.items()}

    def function_without_settings(self, logical_id: str) -> Function:
        """A function that has no variables, and no intrinsic function in what is read here."""
        properties = self.translated["Resources"][logical_id]["Properties"]
        names = ("Handler", "MemorySize", "Timeout")
        return self._function(logical_id, {f".{name}": str(properties[name]) for name in names})

    def resources(self, kind: str) -> dict[str, Json]:
        """The resources of the CloudFormation type `kind`, by logical id."""
        resources = self.translated["Resources"]
        return {name: body for name, body in resources.items() if body["Type"] == kind}

    def _settings(self) -> dict[str, tuple[str, str, Any]]:
        """Everything of functions that may be an intrinsic: key → (function, name, value).

        A variable is named as it is; a property with a dot before its name.
        """
        settings = []
        for function, body in self.resources("AWS::Lambda::Function").items():
            properties = body["Properties"]
            settings += [
                (function, f".{name}", properties[name])
                for name in ("Handler", "MemorySize", "Timeout")
            ]
            variables = properties.get("Environment", {}).get("Variables", {})
            settings += [
                (function, name, value) for name, value in variables.items() if value != NO_VALUE
            ]
        return {f"Setting{index}": setting for index, setting in enumerate(settings)}

    def _data_template(self, settings: Mapping[str, tuple[str, str, Any]]) -> Json:
        resources = {}
        for kind, name_property in NAME_PROPERTY.items():
            for logical_id, body in self.resources(kind).items():
                name = f"{logical_id}.fifo" if body["Properties"].get("FifoQueue") else logical_id
                properties = {**body.get("Properties", {}), name_property: name}
                resources[logical_id] = {
                    "Type": kind,
                    "Properties": properties,
                    **self._condition(logical_id),
                }
        parameters = {
            # Without their patterns: on loopback http:// is as good as https://.
            name: {key: body[key] for key in ("Type", "Default") if key in body}
            for name, body in self.translated.get("Parameters", {}).items()
        }
        kept: Json = {
            key: self.translated[key]
            for key in ("Conditions", "Mappings")
            if key in self.translated
        }
        outputs = {
            key: {
                "Value": value if isinstance(value, dict) else str(value),
                **self._condition(function),
            }
            for key, (function, _, value) in settings.items()
        }
        return {**kept, "Parameters": parameters, "Resources": resources, "Outputs": outputs}

    def _condition(self, logical_id: str) -> Json:
        body = self.translated["Resources"][logical_id]
        return {"Condition": body["Condition"]} if "Condition" in body else {}

    def _function(self, logical_id: str, settings: Mapping[str, str]) -> Function:
        properties = self.translated["Resources"][logical_id]["Properties"]
        environment = {name: value for name, value in settings.items() if name[0] != "."}
        if properties.get("LoggingConfig", {}).get("LogFormat") == "JSON":
            environment["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        return Function(
            name=logical_id,
            handler=settings[".Handler"],
            code=self.code[logical_id],
            environment=environment,
            memory_mb=int(settings[".MemorySize"]),
            timeout_seconds=float(settings[".Timeout"]),
        )


def _take_code(template: Json, folder: Path) -> dict[str, tuple[Path, ...]]:
    """Take the folders out of `template`: the translator takes nothing but S3 addresses."""
    folders: dict[str, Path] = {}
    layers: dict[str, list[Json]] = {}
    global_layers = template.get("Globals", {}).get("Function", {}).get("Layers", [])
    for logical_id, body in template["Resources"].items():
        properties = body.get("Properties", {})
        for name in ("CodeUri", "ContentUri", "Code"):
            if isinstance(properties.get(name), str):
                folders[logical_id] = folder / properties[name]
                properties[name] = "s3://local/code"
        if body["Type"] in ("AWS::Serverless::Function", "AWS::Lambda::Function"):
            layers[logical_id] = [*global_layers, *properties.get("Layers", [])]
    return {
        function: (folders[function], *(folders[layer["Ref"]] for layer in refs))
        for function, refs in layers.items()
    }
