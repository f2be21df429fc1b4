"""The modules of the sandbox import each other in one direction only."""

from __future__ import annotations

import grimp


def test_no_module_imports_itself_through_others_not_even_for_its_annotations() -> None:
    graph = grimp.build_graph("airflow_provider_winsms", cache_dir=None)
    assert graph.nominate_cycle_breakers("airflow_provider_winsms.sandbox") == set()
