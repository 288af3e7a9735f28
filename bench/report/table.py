"""Tables in markdown, and how numbers stand in their cells."""


def table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """Its lines, padded to read well in a terminal; the first column left, others right."""
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return [line(headings), line(rule), *map(line, rows)]
