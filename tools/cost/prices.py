"""AWS's list prices in US dollars, us-east-1, on 26 November 2026. Free tiers are not subtracted.

They are assumptions of docs/cost.md, which links to the pages of AWS that are right today.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Price:
    """`dollars` for `per` units of `unit`."""

    service: str
    unit: str
    dollars: float
    per: int = 1

    def of(self, quantity: float) -> float:
        """The price of `quantity` units in dollars."""
        return quantity / self.per * self.dollars


ALARM_METRIC = Price("CloudWatch", "metric of an alarm, a month", 0.10)
CUSTOM_METRIC = Price("CloudWatch", "custom metric, a month", 0.30)
DASHBOARD = Price("CloudWatch", "dashboard, a month", 3.00)
LOG_GB = Price("CloudWatch Logs", "GB taken in", 0.50)
INVOCATION = Price("Lambda", "invocation", 0.20, per=1_000_000)
GB_SECOND = Price("Lambda, x86_64", "GB-second", 16.6667, per=1_000_000)
SNAPSHOT_GB_SECOND = Price(
    "Lambda SnapStart", "GB-second of a cached snapshot", 1.5046, per=1_000_000
)
RESTORED_GB = Price("Lambda SnapStart", "GB restored", 139.7998, per=1_000_000)
WRITE_UNIT = Price("DynamoDB, on demand", "write unit", 0.625, per=1_000_000)
READ_UNIT = Price("DynamoDB, on demand", "read unit", 0.125, per=1_000_000)
STORED_GB = Price("DynamoDB", "GB stored, a month", 0.25)
BACKED_UP_GB = Price("DynamoDB", "GB with point-in-time recovery, a month", 0.20)
SECRET = Price("Secrets Manager", "secret, a month", 0.40)
SECRET_CALL = Price("Secrets Manager", "call", 0.05, per=10_000)
QUEUE_REQUEST = Price("SQS", "request", 0.40, per=1_000_000)
TICK = Price("EventBridge Scheduler", "invocation", 1.00, per=1_000_000)
TRACE = Price("X-Ray", "trace", 5.00, per=1_000_000)
LOAD_BALANCER_HOUR = Price("Application Load Balancer", "hour", 0.0225)
CAPACITY_UNIT_HOUR = Price("Application Load Balancer", "capacity unit, an hour", 0.008)

ALL = [value for value in globals().values() if isinstance(value, Price)]
