# ruff: noqa: INP001 - beside a script
"""The panels of the dashboard "Router": what titleshot itself costs, sheds and holds."""

from __future__ import annotations

from panels import WIDTH, Panel, graph, row, states, target

M = 'model="$model"'


def rate(name: str, by: str = "", labels: str = "") -> str:
    """The rate of a counter, summed."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({name}{labels}[$__rate_interval]))"


def router_panels() -> list[tuple[Panel, int, int]]:
    """Panel, width, height; rows are filled from left to right."""
    of = f"{{{M}}}"
    overhead = f"{rate('titleshot_overhead_seconds_sum', '', of)} / {rate('titleshot_overhead_seconds_count', '', of)}"
    held = rate("titleshot_overhead_seconds_bucket", "le", of)
    begun = rate("titleshot_first_byte_seconds_bucket", "role, le", of)
    whole = (
        f"{rate('titleshot_request_duration_seconds_sum', 'role', of)} / "
        f"{rate('titleshot_request_duration_seconds_count', 'role', of)}"
    )

    def lines(title: str, about: str, *asked: tuple[str, str], unit: str = "short") -> tuple[Panel, int, int]:
        return graph(title, about, [target(*each) for each in asked], unit=unit, least=0), 12, 8

    return [
        (row("Cost"), WIDTH, 1),
        lines(
            "Overhead",
            "Time in titleshot, apart from the time in the model.",
            (f"histogram_quantile(0.5, {held})", "p50"),
            (f"histogram_quantile(0.99, {held})", "p99"),
            (overhead, "mean"),
            unit="s",
        ),
        lines(
            "Time to first byte",
            "From arrival to the first byte of the answer's body, of good answers.",
            (f"histogram_quantile(0.5, {begun})", "{{role}} p50"),
            (f"histogram_quantile(0.99, {begun})", "{{role}} p99"),
            unit="s",
        ),
        lines("Whole time", "Mean, from arrival to the end of the answer.", (whole, "{{role}}"), unit="s"),
        (row("Shed and refused"), WIDTH, 1),
        lines(
            "Copies shed",
            "By reason.",
            (rate("titleshot_shadow_dropped_total", "reason", of), "{{reason}}"),
            unit="cps",
        ),
        lines(
            "Refused",
            "By reason; of all models, and of the admin port.",
            (rate("titleshot_refused_requests_total", "reason"), "{{reason}}"),
            (rate("titleshot_admin_refused_total", "reason"), "admin port: {{reason}}"),
            unit="reqps",
        ),
        lines("Breaker", "Workers.", (f"sum by (state) (titleshot_breaker_workers{of})", "{{state}}")),
        lines(
            "Observations dropped",
            "Lost evidence.",
            (rate("titleshot_observations_dropped_total", "dropped_by"), "{{dropped_by}}"),
            unit="cps",
        ),
        lines(
            "Ledger lag",
            "For how long the oldest observation that is not in the ledger yet has waited.",
            (f"titleshot_ledger_lag_seconds{of}", "oldest"),
            unit="s",
        ),
        lines(
            "Not in the ledger yet", "Observations (rows).", (f"titleshot_observations_unrecorded{of}", "observations")
        ),
        (row("Resources"), WIDTH, 1),
        lines(
            "Processor",
            "Processors in use, by process.",
            (rate("titleshot_process_cpu_seconds_total", "process"), "{{process}}"),
        ),
        lines(
            "Memory",
            "Resident, by process.",
            ("sum by (process) (titleshot_process_resident_memory_bytes)", "{{process}}"),
            unit="bytes",
        ),
        lines("Open files", "Sockets included.", ("sum by (process) (titleshot_process_open_fds)", "{{process}}")),
        lines(
            "Up for",
            "Seconds since each process started.",
            ("time() - titleshot_process_start_time_seconds", "{{process}}"),
            unit="s",
        ),
        lines(
            "Connections",
            "Open now.",
            ("titleshot_client_connections", "clients"),
            ("titleshot_upstream_connections", "to model servers"),
        ),
        lines(
            "Workers",
            "Linked to the control process; revisions of the routes that one lags behind.",
            ("titleshot_proxies_connected", "workers"),
            ("titleshot_routes_revision - titleshot_routes_revision_in_use", "revisions behind"),
        ),
        (
            states(
                "In order",
                "Ledger and settings.",
                [target("titleshot_ledger_up", "ledger"), target("titleshot_config_reload_success", "settings")],
                otherwise="red",
            ),
            12,
            8,
        ),
        lines(
            "Seconds since settings were taken over",
            "The last reload.",
            ("time() - titleshot_config_reload_timestamp_seconds", "settings"),
            unit="s",
        ),
    ]
