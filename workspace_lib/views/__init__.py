"""Views: the building blocks of dashboards, and the server that shows them."""
