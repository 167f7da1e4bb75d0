#!/usr/bin/env python3
"""Verifies a zegoclose journal from docs/auditing.md alone: python3 docs/verify.py FILE [HASH...]"""
import hashlib, json, sqlite3, sys

OVER = "closed absent failed unknown cancelled expired".split()
STEPS = {  # kind: (states in which it may occur, the state it leads to or None)
    "requested": ([None], "pending"), "offered": (["pending"], None),
    "shown": (["pending", "confirmed", "closing"] + OVER, None),
    "confirmed": (["pending"], "confirmed"), "cancelled": (["pending", "confirmed"], "cancelled"),
    "expired": (["pending", "confirmed"], "expired"), "attempted": (["confirmed"], "closing"),
    "answered": (["closing", "unknown"], None), "requeued": (["closing"], "confirmed"),
    "looked": (["closing"], None), "ended": (["confirmed", "closing", "unknown"], "outcome"),
    "reviewed": (OVER, None), "contested": (OVER, None)}

def verify(path, heads):
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    prev, then, state, code, seen, number = "", 0, {}, {}, [], -1
    for number, case, kind, time, body, before, digest in db.execute(
            "SELECT number, case_, kind, time, body, prev, hash FROM entries ORDER BY number"):
        bad, facts = f"entry {number}, case #{case}: ", None
        text = f"zegoclose entry 1\n{number}\n{case}\n{kind}\n{time}\n{before}\n{body}"
        if number != len(seen): return f"entry {len(seen)}: missing"
        if time < then: return bad + "its time runs backwards"
        if before != prev: return bad + "does not follow the entry before it"
        if hashlib.sha256(text.encode()).hexdigest() != digest: return bad + "content does not match its hash"
        prev, then, facts = digest, time, json.loads(body); seen.append(digest)
        if kind in ("opened", "refused", "checkpoint"): continue
        was = state.get(case)
        if kind == "requested" and case != len(state) + 1: return bad + "the next case has another number"
        if kind not in STEPS or was not in STEPS[kind][0]: return bad + f"a case that is {was} cannot be {kind}"
        if kind == "answered": code[case] = facts.get("code")
        to = facts["outcome"] if STEPS[kind][1] == "outcome" else STEPS[kind][1] or was
        if to == "closed" and kind == "ended" and code.get(case) != 0: return bad + "closed without code 0"
        state[case] = to
    if db.execute("SELECT entry, hash, time, last_case FROM head").fetchone() != (number, prev, then, len(state)):
        return f"entry {number}: it is the last one, but the head row says otherwise"
    kept = dict(db.execute("SELECT number, state FROM cases"))
    for case in sorted(state.keys() | kept.keys()):
        if state.get(case) != kept.get(case): return f"case #{case}: its row says {kept.get(case)}, its entries {state.get(case)}"
    for h in heads:
        if not any(s.startswith(h) for s in seen): return f"no entry has the hash {h}"

problem = verify(sys.argv[1], sys.argv[2:])
print(problem or "sound")
sys.exit(1 if problem else 0)
