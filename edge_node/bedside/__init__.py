"""The local page: works with the hub gone.  Imports samples, config, errors and the contracts; FastAPI lives here."""
