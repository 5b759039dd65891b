"""What people see: rows as pure data, and the only importer of gradio."""
