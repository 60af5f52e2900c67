"""A deployed stack as CloudFormation describes it: parameters, outputs, resources, template."""

from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any

import boto3
from botocore.exceptions import ClientError

from byline.aws import error_name
from tools.smoke.intrinsics import Resolver
from tools.smoke.verdicts import NotChecked


class NoStack(Exception):
    """The stack does not exist, or not in a state that serves."""


class DeployedStack:
    """The stack `name`, with clients for its account and region as the AWS CLI finds them."""

    def __init__(self, name: str) -> None:
        """Read the stack. Raises `NoStack`."""
        self.client = cache(boto3.Session().client)
        self._cloudformation = self.client("cloudformation")
        try:
            [found] = self._cloudformation.describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if error_name(error) != "ValidationError":
                raise
            raise NoStack(f"The stack {name} does not exist in this account and region.") from None
        self.id: str = found["StackId"]
        self.name = name
        self.status: str = found["StackStatus"]
        self.parameters: Mapping[str, str] = {
            each["ParameterKey"]: each.get("ResolvedValue", each["ParameterValue"])
            for each in found.get("Parameters", [])
        }
        self.outputs: Mapping[str, str] = {
            each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])
        }
        if "RunsFunctionAlias" not in self.outputs:
            raise NoStack(f"The stack {name} is {self.status}, or no stack of Byline.")

    @cached_property
    def resources(self) -> Mapping[str, str]:
        """The physical id of each resource, by its logical id."""
        pages = self._cloudformation.get_paginator("list_stack_resources")
        return {
            each["LogicalResourceId"]: each.get("PhysicalResourceId", "")
            for page in pages.paginate(StackName=self.name)
            for each in page["StackResourceSummaries"]
        }

    @cached_property
    def template(self) -> Mapping[str, Any]:
        """The template that was deployed, after its transform."""
        answer = self._cloudformation.get_template(StackName=self.name, TemplateStage="Processed")
        document: Mapping[str, Any] = answer["TemplateBody"]
        return document

    @cached_property
    def resolver(self) -> Resolver:
        """Replaces the functions of the template by the values of this stack."""
        _, partition, _, region, account, _ = self.id.split(":", 5)
        pseudo = {
            "AWS::AccountId": account,
            "AWS::Partition": partition,
            "AWS::Region": region,
            "AWS::StackId": self.id,
            "AWS::StackName": self.name,
        }
        return Resolver(
            {**pseudo, **self.resources, **self.parameters}, self.template.get("Conditions", {})
        )

    @cached_property
    def live(self) -> Mapping[str, Any]:
        """The configuration of the version of RunsFunction that serves requests."""
        found: Mapping[str, Any] = self.client("lambda").get_function_configuration(
            FunctionName=self.outputs["RunsFunctionAlias"]
        )
        return found

    def required(self, parameter: str) -> str:
        """The value of a parameter. Raises `NotChecked` where it is empty."""
        if not (value := self.parameters.get(parameter, "")):
            raise NotChecked(f"{parameter} is empty")
        return value
