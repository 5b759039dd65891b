"""The only importer of the WebUI: everything it does differently by version is settled here."""
