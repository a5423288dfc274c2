"""What the application keeps."""

import click
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The base of the models."""


db = SQLAlchemy(model_class=Base)


class Report(db.Model):
    """A report on a topic."""

    id: Mapped[int] = mapped_column(primary_key=True)
    topic: Mapped[str]
    text: Mapped[str] = mapped_column(default="")


@click.command()
def create_tables() -> None:
    """Create the application's own tables."""
    db.create_all()
