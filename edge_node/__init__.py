"""The edge node: collects vital signs beside the patient, keeps them, alarms, and sends them to the hub."""
