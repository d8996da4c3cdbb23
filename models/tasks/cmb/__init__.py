"""Cerebral microbleeds: a detector of small dark round spots of positive phase on susceptibility-weighted MR."""
