"""Tools of the supply chain (docs/operate/supply-chain.md): lock files, their audit, a bill of materials."""
