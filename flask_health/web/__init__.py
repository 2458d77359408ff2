"""How it is told: the probe path before Flask, the blueprint, the formats, who may see what."""
