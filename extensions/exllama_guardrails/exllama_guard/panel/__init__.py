"""What people see: rows as pure data, their markup, and the only importer of gradio."""
