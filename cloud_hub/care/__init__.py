"""The hub's domain, pure: referrals, alarms, who lies where, who wins a conflict.  Imports only `telemed`."""
