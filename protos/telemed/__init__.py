"""The contracts that edge and hub must agree upon: messages, topics, measures, wire format, states.

Admission test: would the two sides misunderstand each other if they differed here?  Imports nothing of
`edge_node`, `cloud_hub` or `models`.
"""
