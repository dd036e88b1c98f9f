import unittest

from pricing import line_total, order_total


class PricingTest(unittest.TestCase):
    def test_a_line_without_a_discount(self):
        self.assertEqual(line_total(250, 4), 1000)

    def test_a_line_with_a_discount(self):
        self.assertEqual(line_total(250, 4, 15), 850)

    def test_an_order(self):
        self.assertEqual(order_total([(100, 1), (200, 2, 50)]), 300)


if __name__ == "__main__":
    unittest.main()
