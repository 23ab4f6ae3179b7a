"""An exemplary mailer: reads ``confirmation-emails`` and sends one letter for each record."""
