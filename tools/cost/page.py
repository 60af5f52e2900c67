"""The computed part of docs/cost.md."""

from pathlib import Path

from byline.refresh.timing import due_window, slots_for
from simulation.rival_rules import RULES
from tools.cost import prices, usage
from tools.cost.usage import Assumptions, Item, dollars

PAGE = Path(__file__).parents[2] / "docs/cost.md"
BEGIN = "<!-- computed: begin, written by `make cost` -->\n"
END = "<!-- computed: end -->\n"


def with_computed(page: str) -> str:
    """The page with its computed part made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{computed(Assumptions())}\n{END}{after}"


def computed(has: Assumptions) -> str:
    """The tables of the page for these assumptions."""
    return (
        "\n\n".join(
            [
                _scenarios(has),
                _idle(has),
                _tokens(has),
                _runners(has),
                _assumptions(has),
                _prices(),
            ]
        )
        + "\n"
    )


def idle_dollars(has: Assumptions) -> float:
    """A stack that nobody uses, with the template's defaults on an existing load balancer."""
    memory = usage.parameter("MemorySize")
    return dollars(usage.idle(has, memory_mb=512) + usage.snapshot(memory) + usage.alarms())


def _scenarios(has: Assumptions) -> str:
    memory = usage.parameter("MemorySize")
    fixed = usage.idle(has, memory_mb=512)
    scenarios = {
        "idle": [],
        "10 users": usage.users(10, has, memory_mb=memory, snap_start=False),
        "1,000 users": usage.users(1_000, has, memory_mb=memory, snap_start=False),
        "1,000 isolated runners": usage.isolated(1_000, has, memory_mb=512),
        "1,000 runners, sharing": usage.sharing(1_000, has, memory_mb=512),
        "20,000 isolated runners": usage.isolated(20_000, has, memory_mb=512),
        "1,000,000 runners, sharing": usage.sharing(1_000_000, has, memory_mb=512),
    }
    restores = {
        "10 users": usage.users(10, has, memory_mb=memory, snap_start=True),
        "1,000 users": usage.users(1_000, has, memory_mb=memory, snap_start=True),
    }
    rows = []
    for name, items in scenarios.items():
        snap_start = usage.snapshot(memory)
        extra = dollars(restores[name]) - dollars(items) if name in restores else 0.0
        parts = [
            dollars(fixed + items),
            dollars(snap_start) + extra,
            dollars(usage.alarms()),
            dollars(usage.load_balancer()),
        ]
        rows.append([name, *map(_money, parts), f"**{_money(sum(parts))}**"])
    return "### A month, in dollars\n\n" + _table(
        [
            "scenario",
            "without the options",
            "+ SnapStart",
            "+ alarms and dashboard",
            "+ own load balancer",
            "all",
        ],
        rows,
    )


def _idle(has: Assumptions) -> str:
    memory = usage.parameter("MemorySize")
    items = [
        *usage.idle(has, memory_mb=512),
        *usage.snapshot(memory),
        *usage.alarms(),
        *usage.load_balancer(),
    ]
    registration = dollars(usage.registration(has, memory_mb=512))
    return (
        "### An idle stack, line by line\n\n"
        + _items(items)
        + "\n\nRegistration with an authorization service adds "
        + f"{_money(registration)} dollars before any run."
    )


def _tokens(has: Assumptions) -> str:
    items = usage.tokens(1_000, has, memory_mb=512)
    return f"### 1,000 tokens of {has.token_lifetime} seconds\n\n" + _items(items)


def _runners(has: Assumptions) -> str:
    """What a runner costs, where it shares a token, where it does not, and by other rules."""
    slots, window = slots_for(has.token_lifetime), due_window(has.token_lifetime)
    every = (window.first + window.last) / 2
    many = 1_000 * has.runners_per_token
    shared = dollars(usage.sharing(many, has, memory_mb=512)) / many
    alone = dollars(usage.isolated(1_000, has, memory_mb=512)) / 1_000
    share = slots / has.runners_per_token
    rows = [
        [f"Byline, {has.runners_per_token} runners share a token", f"{share:.3g}"],
        ["Byline, isolated", str(slots)],
    ]
    rows[0] += [f"{every:,.0f}", f"{shared:.4f}"]
    rows[1] += [f"{every:,.0f}", f"{alone:.4f}"]
    for rule in RULES:
        cost = dollars(usage.rival(rule, has))
        seconds = usage.interval(rule, has)
        rows.append([rule.name, str(usage.secrets_of(rule, has)), f"{seconds:,.0f}", f"{cost:.4f}"])
    return f"### A runner and month, tokens of {has.token_lifetime} seconds\n\n" + _table(
        ["rule", "secrets for a runner", "a refresh every (s)", "dollars"], rows
    )


def _assumptions(has: Assumptions) -> str:
    rows = [[f"`{name}`", f"{value:,}", meaning] for name, value, meaning in usage.says(has)]
    return "### Assumptions\n\n" + _table(["name", "value", "meaning"], rows)


def _prices() -> str:
    rows = [
        [
            each.service,
            each.unit,
            f"{each.dollars:g} for {each.per:,}" if each.per > 1 else f"{each.dollars:g}",
        ]
        for each in prices.ALL
    ]
    return "### Prices\n\n" + _table(["service", "unit", "dollars"], rows)


def _items(items: list[Item]) -> str:
    rows = [
        [
            item.name,
            item.price.service,
            f"{item.quantity:,.0f}" if item.quantity >= 10 else f"{item.quantity:.2g}",
            item.price.unit,
            _money(item.dollars),
        ]
        for item in items
    ]
    rows.append(["**all**", "", "", "", f"**{_money(dollars(items))}**"])
    return _table(["for", "service", "quantity", "unit", "dollars"], rows)


def _money(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
