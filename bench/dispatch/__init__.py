"""The loops that start requests. They depend neither on how the schedule works nor on how the transport does.

- `open_loop`: requests arrive by the schedule, whatever the server does.
- `closed_loop`: N users. Each sends its next request when the reply to the last one has come.
- `sessions`: running graphs of turns. `session_users`: N users with one session after the other; `session_arrivals`: new
  sessions arrive by the schedule.

Each is a `Dispatcher` (`interface`) and gets a `Sending`: it takes its limits from the `Stop`, counts requests in
flight in the `InFlightCounter`, and passes every record to one callback. A run has one loop, so each file is loaded on
first use.
"""
