"""How many open dashboards one web process carries, and how soon they show a change."""
