"""Tables, charts and pages of reports, whatever they are about."""
