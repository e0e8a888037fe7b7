"""The small applications that the fault tests run, and what runs beside them."""
