"""The steps of the store's schema: one chain, each step for both databases.

A step is a file ``versions/NNNN_what.py`` with ``upgrade(database)`` and ``downgrade(database)``,
where ``database`` is ``control`` or ``data``. It names plain column types and knows nothing of the
rest of the program, so that it does the same for ever. A new one is written by

    python -m workspace_lib.store.migrations.autogenerate "what changed"

from the difference between the last step and the tables as the code now has them; read it before
it is committed. Steps that are released are never changed.
"""
