"""Codes of our own in reports of models, for what has no code of a public scheme that was confirmed.  Pure.

Dictionary of the coding scheme 99GATEWAY; a code is never given another meaning.  At most 16 characters.
"""

SCHEME = "99GATEWAY"
CODES: dict[str, tuple[str, str]] = {
    "CMB": ("脑微出血（提示）", "Cerebral microbleed (pointed to)"),
    "OUTCOME": ("读片结果", "Outcome of the reading"),
    "FOUND": ("有提示", "Findings are pointed to"),
    "NONE-FOUND": ("未见提示", "Nothing was pointed to"),
    "NOT-READ": ("未读片", "Not read"),
    "REASON": ("原因", "Reason"),
    "REGION": ("脑区", "Region of the brain"),
    "LOBAR": ("脑叶", "Lobar"),
    "DEEP": ("深部", "Deep"),
    "INFRATENTORIAL": ("幕下", "Infratentorial"),
}
"""Chinese and English."""
FINDINGS = {"cerebral-microbleed": "CMB"}
"""Findings of `ai_result.AiResult`, by their code there."""
REGIONS = ("lobar", "deep", "infratentorial")
"""Regions of `ai_result.AiResult`; in capitals they are codes."""
