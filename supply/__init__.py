"""Tools of the supply chain: lock files, an audit of them, a bill of materials: docs/supply-chain.md."""
