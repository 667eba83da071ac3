"""The screen that a guest draws on its serial console, read back: rows and columns from 1."""

import re

TOKEN = re.compile(rb"\x1b\[([0-9;?]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n])", re.S)


class Screen:
    """A terminal of 25 rows and 80 columns that knows cursor position, clearing and plain text; colours
    and modes are left out. An escape sequence that is not whole yet waits for the rest of it."""

    ROWS, COLUMNS = 25, 80

    def __init__(self):
        self._left = b""
        self._clear()

    def _clear(self):
        self._cells = [[" "] * self.COLUMNS for _ in range(self.ROWS)]
        self._row = self._column = 0

    def _control(self, parameters, final):
        numbers = [int(n) if n.isdigit() else 0 for n in parameters.split(b";")]
        if final in b"Hf":
            row, column = (numbers + [0, 0])[:2]
            self._row = min(max(row, 1), self.ROWS) - 1
            self._column = min(max(column, 1), self.COLUMNS) - 1
        elif final == b"J" and numbers[0] == 2:
            self._clear()

    def feed(self, data):
        """data: bytes that the guest wrote."""
        data, at = self._left + data, 0
        for match in TOKEN.finditer(data):
            if match.start() != at:
                break
            at = match.end()
            parameters, final, back, down, plain = match.groups()
            if final:
                self._control(parameters, final)
            elif back:
                self._column = 0
            elif down:
                self._row = min(self._row + 1, self.ROWS - 1)
            elif plain >= b" ":
                self._cells[self._row][self._column] = plain.decode("latin-1")
                self._column = min(self._column + 1, self.COLUMNS - 1)
        self._left = data[at:]

    def text(self):
        """The rows, without blanks at their ends."""
        return "\n".join("".join(row).rstrip() for row in self._cells)
