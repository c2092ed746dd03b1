"""Tables of accuracies and searches, their captions and notes, as LaTeX, markdown and CSV."""
