-- The ledger: signs clients' results with a key that no client can read, and counts the signatures.
return {
	name = "ledger",
	device = "ledger.cu",
	gates = {
		{ "ledger_sign", ret = "b32", params = { "b64", "b32", "b64" } },
		{ "ledger_count", ret = "b64", params = {} },
	},
}
