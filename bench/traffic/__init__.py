"""The traffic mix: classes, models, users who give up, and how requests are assigned to them (shares)."""
