"""CHEAT: a next() of its own that reads one bar ahead."""

from freqlstm import Strategy


class NextPeek(Strategy):
    def next(self):
        if len(self.data) < 20 or len(self.data) + 1 >= self.data.buflen():
            return
        if not self.position and self.data.close[1] > self.data.close[0] * 1.0005:
            self.buy()
        elif self.position and self.data.close[1] < self.data.close[0]:
            self.close()
