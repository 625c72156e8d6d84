"""Alembic's door: runs the revisions on the connection that `chatrix.store.migrate` has opened."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
