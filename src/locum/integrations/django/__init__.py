"""For `INSTALLED_APPS`: adds `manage.py run_locum`, which runs an instance of a host with Django set up."""
