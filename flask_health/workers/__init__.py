"""How the workers of one server agree, through the kernel and a shared directory. No Flask."""
