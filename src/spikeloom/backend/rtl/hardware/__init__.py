"""The hardware of a plan, in Amaranth. Only this folder imports it: the rest of the target works without the library."""
