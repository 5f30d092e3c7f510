"""kolm: compile a vision-language model for one narrow task and prove what was done.

The vocabulary, from promise to proof:

- a *spec* (`kolm.spec`) names a base model, image-prompt-response pairs and an eval pack;
- the *module manifest* (`kolm.modules`) lists every parameter with its state, digests and origin;
- the *K-score* (`kolm.kscore`) is computed from stored outputs, so anyone can compute it again;
- the *artifact* (`kolm.artifact`) holds all of it in bytes that depend on nothing but the inputs,
  and its *CID* (`kolm.cid`) is their name;
- the *receipt* (`kolm.receipt`) says what was observed while it was made, signed with Ed25519;
- *verification* (`kolm.verify`) is a numbered list of checks over those bytes, without torch and network.

Nothing here loads torch. The heavy work lives in `apps`, the service in `registry`.
"""

__version__ = "0.1.0"
