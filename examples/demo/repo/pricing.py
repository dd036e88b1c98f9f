"""Prices of an order, in cents."""


def line_total(unit_price, quantity, discount_percent=0):
    """What one line of an order costs after its discount."""
    full = unit_price * quantity
    return full - full * discount_percent // 10


def order_total(lines):
    """What an order costs: the sum of its lines."""
    return sum(line_total(*line) for line in lines)
