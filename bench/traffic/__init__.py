"""Who sends: classes of traffic, models, users who give up, and how a request is drawn for one of them (shares)."""
