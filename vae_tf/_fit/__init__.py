"""How `fit` and `sweep` train: many steps in one program. A reader can skip it."""
